"""`python -m eyebright` is the command `eyebright`."""

from eyebright.cli.main import main

if __name__ == "__main__":
    main()
