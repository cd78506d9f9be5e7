"""The import: cells, templates, mappings, files, plans, the way to the service, and all of it together."""
