"""Starts the child."""

from chandler.serving.worker.loop import main

main()
