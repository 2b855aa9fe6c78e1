"""Text for people made of what the parts know: tables, timelines, graphs. Pure: nothing here prints."""
