"""`python -m kanvae`: the same as the command `kanvae`."""

from kanvae.studies.command import main

main()
