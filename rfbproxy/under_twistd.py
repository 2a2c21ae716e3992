"""The service as `consoleproxy serve` runs it: under twistd, with options of its own in place of twistd's."""

from twisted.scripts import twistd

from rfbproxy.config import Config
from twisted.plugins.consoleproxy import consoleproxy


class _Options(twistd.ServerOptions):  # type: ignore[misc,name-defined]
    """twistd's own for this one service; to look for the plugins of all packages takes a while."""

    loadedPlugins = {consoleproxy.tapname: consoleproxy}  # noqa: N815, RUF012 - twistd's
    subCommands = ((consoleproxy.tapname, None, lambda: consoleproxy.options(), consoleproxy.description),)  # noqa: N815


def serve(
    config: Config,
    files: list[str],
    folders: list[str],
    *,
    nodaemon: bool,
    pid_file: str | None = None,
    log_file: str | None = None,
) -> None:
    """Run the plugin, in the background only if `daemon` says so."""
    stay = nodaemon or not config.flag("DEFAULT", "daemon")
    options = _Options()
    options.parseOptions(
        [
            *(["--nodaemon"] if stay else []),
            f"--pidfile={pid_file or ''}",
            *([f"--logfile={log_file}"] if log_file else []),
            "consoleproxy",
            *(f"--config-file={file}" for file in files),
            *(f"--config-dir={folder}" for folder in folders),
        ]
    )
    twistd.runApp(options)
