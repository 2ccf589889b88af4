"""Files and folders that are whole or not there. How a result reaches the disk is not what it is:
no digest of a step's code reads this package."""
