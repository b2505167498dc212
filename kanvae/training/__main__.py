"""The old spelling of `kanvae train`, for one more release."""

import runpy
import sys

if __name__ == "__main__":
    print("`python -m kanvae.training` is now `kanvae train`.", file=sys.stderr)
    sys.argv[1:1] = ["train"]
    runpy.run_module("kanvae", run_name="__main__")
