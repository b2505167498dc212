"""The old place of `kanvae.studies.chapters`, for one more release."""

from kanvae.studies.command import moved

moved("chapters", __name__)
