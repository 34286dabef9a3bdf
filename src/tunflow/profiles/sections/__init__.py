"""The tables of a profile, one file each: what a user may write in them, checked with the line of what is wrong."""
