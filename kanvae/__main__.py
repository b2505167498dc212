"""`python -m kanvae`: the same as the command `kanvae`."""

from kanvae.studies.command import main

if __name__ == "__main__":
    main()
