"""`longtail completion`."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands and options.

    For bash, in ~/.bashrc:  eval "$(longtail completion bash)"
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None, shell
    name = "longtail"
    click.echo(kind(root.command, {}, name, f"_{name.upper()}_COMPLETE").source())
