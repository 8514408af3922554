"""Looking, before anything is run, at what a run would need."""

from curation.doctor.check import Check
from curation.doctor.machine import check_machine
from curation.doctor.needs import check_pipeline
from curation.doctor.packages import check_packages
from curation.doctor.stores import check_store

__all__ = ["Check", "check_machine", "check_packages", "check_pipeline", "check_store"]
