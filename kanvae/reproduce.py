"""The old place of `kanvae.studies.reproduce`, for one more release."""

from kanvae.studies.command import moved

moved("reproduce", __name__)
