"""Dataset: files become a table. `files` lists sources, `plan` decides (pure), `commit` turns results into one entry (pure),
`controller` reads and writes."""
