"""The old place of `kanvae.studies.search`, for one more release."""

from kanvae.studies.command import moved

moved("search", __name__)
