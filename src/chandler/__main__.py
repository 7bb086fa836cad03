"""`python -m chandler`: the same as the `chandler` command, also for `torchrun -m chandler`."""

from chandler.cli import main

if __name__ == "__main__":
    main()
