"""What the report of one scan shows: a file for each part of the page, worded and sorted; the template lays it out."""
