"""``python -m rayopt`` is the command ``rayopt``."""

from rayopt.cli import main

if __name__ == "__main__":
    main(prog_name="rayopt")
