"""Options to log in to keystone by, where the token store is nova's compute API.

Names and defaults are keystoneauth1's, which need not be installed.
"""

from oslo_config import cfg

from rfbproxy.options.kinds import old

KEYSTONE_AUTHTOKEN = [
    cfg.StrOpt(
        "auth_type",
        default="password",
        choices=["password", "v3password", "v3applicationcredential"],
        deprecated_opts=old("auth_plugin", group="keystone_authtoken"),
        help="How to log in to keystone, where the token store is nova's compute API.",
    ),
    cfg.StrOpt("auth_url", help="Keystone's URL."),
    cfg.StrOpt("username", deprecated_opts=old("user_name", group="keystone_authtoken"), help="User's name."),
    cfg.StrOpt("user_id", help="User's id, instead of its name."),
    cfg.StrOpt("password", secret=True, help="User's password."),
    cfg.StrOpt("user_domain_name", help="Name of the user's domain."),
    cfg.StrOpt("user_domain_id", help="Its id."),
    cfg.StrOpt(
        "project_name", deprecated_opts=old("tenant_name", group="keystone_authtoken"), help="Project to act in."
    ),
    cfg.StrOpt("project_id", deprecated_opts=old("tenant_id", group="keystone_authtoken"), help="Its id."),
    cfg.StrOpt("project_domain_name", help="Name of the project's domain."),
    cfg.StrOpt("project_domain_id", help="Its id."),
    cfg.StrOpt("default_domain_name", help="Name of the domain of both, where neither is named."),
    cfg.StrOpt("default_domain_id", help="Its id."),
    cfg.StrOpt("domain_name", help="Domain to act in, instead of a project."),
    cfg.StrOpt("domain_id", help="Its id."),
    cfg.StrOpt("trust_id", help="Trust to act by."),
    cfg.StrOpt("system_scope", help="`all`: act in the whole system, instead of a project."),
    cfg.StrOpt("application_credential_id", help="Application credential's id (`v3applicationcredential`)."),
    cfg.StrOpt("application_credential_name", help="Its name, with the user's, instead of its id."),
    cfg.StrOpt("application_credential_secret", secret=True, help="Its secret."),
    cfg.StrOpt("cafile", help="PEM file of CAs that keystone and nova come from; unset: those of requests."),
    cfg.StrOpt("certfile", help="PEM file of a certificate to show to them."),
    cfg.StrOpt("keyfile", help="PEM file of its key, if it is not in `certfile`."),
    cfg.BoolOpt("insecure", default=False, help="Believe any certificate."),
    cfg.StrOpt("region_name", help="Does nothing: `[consoleauth] connection` says which compute API."),
]
