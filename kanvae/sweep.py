"""The old place of `kanvae.studies.sweep`, for one more release."""

from kanvae.studies.command import moved

moved("sweep", __name__)
