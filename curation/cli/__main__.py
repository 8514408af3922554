"""`python -m curation.cli`, for where nothing is installed."""

from curation.cli import main

if __name__ == "__main__":
    main()
