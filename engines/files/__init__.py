"""Files: messy source files (CSV, JSON, Parquet) to Parquet parts in a bucket. Imports specs and state; owns pyarrow's csv and parquet."""
