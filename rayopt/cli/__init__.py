"""The command line: ``rayopt run FILE`` and what helps to write the file; a file for each command. Imports everything.

What takes long to import is imported by the command that needs it, so that ``--help`` is quick.
"""

from rayopt.cli import catalogues, doctor, new, plot, profile, recommend, replay, resume, run, theory, tune
from rayopt.cli.app import main

__all__ = [
    "catalogues",
    "doctor",
    "main",
    "new",
    "plot",
    "profile",
    "recommend",
    "replay",
    "resume",
    "run",
    "theory",
    "tune",
]
