"""``python -m secateur``: the command line, where the script is not on the path."""

from secateur.commands.app import main

if __name__ == "__main__":
    main()
