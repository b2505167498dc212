"""The old spelling of `kanvae evaluate`, for one more release."""

import runpy
import sys

if __name__ == "__main__":
    print("`python -m kanvae.evaluation` is now `kanvae evaluate`.", file=sys.stderr)
    sys.argv[1:1] = ["evaluate"]
    runpy.run_module("kanvae", run_name="__main__")
