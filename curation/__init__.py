"""The curation core: datasets, stages' contract, plans, local execution, snapshots, SQL, reports."""
