"""How the shipped models were made. Nothing here runs when speech is generated."""
