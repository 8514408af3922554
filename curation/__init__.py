"""The curation core: datasets, the stage contract, plans, local runs, snapshots, SQL, reports."""
