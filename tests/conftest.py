"""Hypothesis measures no time: this machine may be busy with something else, and a test that is slow has a timeout."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
