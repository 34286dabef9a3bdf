"""`tunflow top`: a view of a tunnel for terminals. Extra `tunflow[ui]`."""
