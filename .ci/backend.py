"""Build backend: setuptools, with its manifest template in this folder.

setuptools reads ``MANIFEST.in`` at the top level only. The template adds the READMEs of folders,
the tests and this folder to the sdist; no wheel has them.
"""

from setuptools.build_meta import *  # noqa: F403  # a backend is all of its hooks
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/MANIFEST.in"
