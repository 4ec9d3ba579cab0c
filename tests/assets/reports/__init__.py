"""Reports of other tools, written as their programs write them, to be imported by tests and broken on purpose."""
