//! The variables by which code, or files that are code, get into a program that did not ask for them.

/// How the names begin of whole families of such variables.
const FAMILIES: &[&str] =
    &["LD_", "DYLD_", "GLIBC_", "MALLOC_", "PYTHON", "PERL", "RUBY", "GCONV_", "BASH_FUNC", "__BASH_FUNC"];

/// Other such variables: of shells, interpreters, virtual machines, and programs that start others.
const NAMES: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "IFS",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "PROMPT_COMMAND",
    "ZDOTDIR",
    "NODE_OPTIONS",
    "NODE_PATH",
    "LUA_INIT",
    "LUA_PATH",
    "LUA_CPATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "NLSPATH",
    "LOCPATH",
    "HOSTALIASES",
    "RESOLV_HOST_CONF",
    "GETCONF_DIR",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_TEMPLATE_DIR",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "LESSOPEN",
    "LESSCLOSE",
    "MANPAGER",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMCAP",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC",
    "RUSTFLAGS",
    "MAKEFLAGS",
    "GNUMAKEFLAGS",
    "MFLAGS",
    "DOTNET_STARTUP_HOOKS",
    "CORECLR_PROFILER",
    "COR_PROFILER",
    "GIO_EXTRA_MODULES",
    "GTK_MODULES",
    "GTK_PATH",
    "QT_PLUGIN_PATH",
];

/// Whether a program is never given this variable.
pub(crate) fn is_refused(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    FAMILIES.iter().any(|family| name.starts_with(family)) || NAMES.contains(&name.as_str())
}
