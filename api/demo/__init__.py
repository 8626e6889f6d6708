"""The main job on real recordings, shown and judged: `server` starts it, `cases` alters, `report` prints."""
