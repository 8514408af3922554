"""What can go wrong, as one tree.

    LongtailError                 exit code 1
    ├── UsageError                exit code 2: refused before anything starts
    │   ├── ConfigError           a pipeline file or override is wrong
    │   │   └── MissingWeightsError   what it names is not on this machine
    │   ├── DatasetError          the folder is no dataset, or one of a newer layout
    │   ├── ResourceError         the machines can never give what the pipeline asks
    │   ├── SnapshotError         the snapshot cannot be made or found as asked
    │   └── QueryError            a SQL statement is refused or wrong
    ├── HinderedError             exit code 2: no task could be worked on, nothing is lost
    ├── StorageError              the store refused or lost something
    ├── EndpointError             a model's server is down, or answers nothing that can be used
    ├── EngineError              a model's server ended over what it was asked
    ├── ContractError             a stage broke its contract (names stage and column)
    └── ConservationError         rows went missing: a bug of ours, never the user's

A message says where, what was found, what was expected, and what to do. Only entry points catch,
and only `LongtailError`. Trouble with one row is not an exception: see `schemas.error_codes`.
"""


class LongtailError(Exception):
    """Base of every error that Longtail raises on purpose."""

    exit_code = 1


class UsageError(LongtailError):
    """The request cannot be carried out; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """A pipeline file or an override is wrong."""


class MissingWeightsError(ConfigError):
    """Weights, or a file or package that says what they are, are not on this machine.

    They may be elsewhere, so what an earlier run learnt of them may stand in; for what is here and
    wrong it may not.
    """


class DatasetError(UsageError):
    """The location is no dataset, or one that this version cannot read."""


class ResourceError(UsageError):
    """The cluster can never give what the pipeline asks for."""


class SnapshotError(UsageError):
    """A snapshot cannot be made, found or trusted as asked."""


class QueryError(UsageError):
    """A SQL statement was refused or is wrong."""


class HinderedError(LongtailError):
    """The surroundings let no task be worked on: store, weights or processes; nothing is lost."""

    exit_code = 2


class StorageError(LongtailError):
    """The store refused a request or lost something."""


class EndpointError(LongtailError):
    """The server of a model is down, refuses us, or answers nothing that can be used."""


class EngineError(LongtailError):
    """The server of a model, which the stage had started, ended over what it was asked."""


class ContractError(LongtailError):
    """A stage broke its contract; the message names the stage and the column."""


class ConservationError(LongtailError):
    """Rows do not add up; always a bug of ours."""
