"""HTTP for dashboards: the Clash API over what a dataplane knows, and a page of our own. Extra `tunflow[ui]`."""
