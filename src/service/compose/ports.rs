//! The `ports` of a Compose service. HAProxy reaches a container through one port, and drainswap publishes only this
//! port: another published port would conflict with the same port of the replacement container.

use toml::Value;

/// Returns the published port inside the container.
pub(super) fn inside(ports: &[Value]) -> Result<Option<u16>, String> {
    let targets = ports.iter().map(target).collect::<Result<Vec<_>, _>>()?;
    match targets.as_slice() {
        [] => Ok(None),
        [one] if one.protocol == "tcp" && one.first == one.last => Ok(Some(one.first)),
        [one] if one.protocol != "tcp" => {
            Err(format!("HAProxy cannot reach a {} port: use a tcp port", one.protocol))
        }
        _ => Err(
            "drainswap publishes one port per container, the one behind primary_port and backup_port: list \
                  only this port, and the others under `expose`"
                .to_owned(),
        ),
    }
}

struct Target {
    first: u16,
    last: u16,
    protocol: String,
}

fn target(entry: &Value) -> Result<Target, String> {
    const FORMS: &str = "expected \"8080\", \"HOST:8080\" or a table with `target: 8080`";
    let (port, protocol) = match entry {
        Value::String(text) => {
            let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            (text.rsplit(':').next().unwrap_or(text), protocol)
        }
        Value::Table(table) => {
            let known = ["target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"];
            if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!("unknown key `{}`: remove it", key.escape_debug()));
            }
            let text = |key: &str| table.get(key).and_then(Value::as_str);
            (text("target").ok_or(FORMS)?, text("protocol").unwrap_or("tcp"))
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {
            return Err(FORMS.to_owned());
        }
    };
    let (first, last) = port.split_once('-').unwrap_or((port, port));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = number(first)
        .zip(number(last))
        .ok_or_else(|| format!("invalid port `{}`: {FORMS}", port.escape_debug()))?;
    if !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(format!("invalid protocol `{}`: expected tcp", protocol.escape_debug()));
    }
    Ok(Target { first, last, protocol: protocol.to_owned() })
}
