"""What is made of a result file: tables, the report in Markdown, plots, and what has changed since another one."""
