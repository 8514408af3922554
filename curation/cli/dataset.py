"""`longtail ls` and `longtail show`."""

from typing import TYPE_CHECKING, Any

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, chosen_pipeline, dataset_url
from curation.config_hints import nearest
