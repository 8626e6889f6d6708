"""The service at the edge: REST, command line, settings. Importing this starts nothing."""
