"""Files: machines, named arrays, results; how much a file may ask for; nothing is ever unpickled."""
