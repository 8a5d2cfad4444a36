#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_config
short_description: Installs haproxy.cfg and makes HAProxy run it, or leaves everything as it was
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Changes the backends of haproxy.cfg that the settings describe, or installs a file that you wrote. HAProxy itself checks
    the new file, which then replaces the old one in one step. If HAProxy does not run the new file, drainswap restores the
    old one.
  - States that were set at runtime (drain, maint, weights) are set again.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(applied) installs the file. V(compared) shows what would change. V(checked) lists the problems in the current file,
        and fails if it has any.
    type: str
    choices: [applied, compared, checked]
    default: applied
  services:
    description: The services whose backends are rendered into haproxy.cfg. The default is all services in the settings.
    type: list
    elements: str
  from:
    description: A file on the target to install as it is, instead of rendering services.
    type: path
  target:
    description: The file of the configuration to change, if there are several.
    type: path
  templates:
    description: A directory on the target with templates that replace the built-in ones.
    type: path
  reload:
    description: When to reload HAProxy. V(auto) reloads it only if it cannot take over the change at runtime. The default is V(auto).
    type: str
    choices: [auto, always, never]
  reload_by:
    description: How to reload HAProxy, as C(master), C(systemd) or a command. The default is the first one that is available.
    type: str
  reload_timeout:
    description: How long HAProxy may take to run the new file. The default is C(30s).
    type: str
  drain_timeout:
    description: How long the sessions of a removed server may take to end. The default is C(5m).
    type: str
  with_haproxy:
    description: With O(state=checked), also check the file with HAProxy itself.
    type: bool
"""

EXAMPLES = r"""
- name: Write the file, and install it
  block:
    - name: Write it beside the current file
      ansible.builtin.template:
        src: haproxy.cfg.j2
        dest: /etc/haproxy/haproxy.cfg.new
        mode: "0640"
    - name: Install it
      drainswap.drainswap.drainswap_config:
        from: /etc/haproxy/haproxy.cfg.new

- name: Render the services of the settings into haproxy.cfg
  drainswap.drainswap.drainswap_config:
    services: [mobile]

- name: List the problems in haproxy.cfg
  drainswap.drainswap.drainswap_config:
    state: checked
    with_haproxy: true
"""

RETURN = r"""
file:
  description: The changed file.
  returned: with O(state=applied) and O(state=compared)
  type: str
  sample: /etc/haproxy/haproxy.cfg
change:
  description: The kind of the change.
  returned: with O(state=applied) and O(state=compared)
  type: str
problems:
  description: The problems in the file, each with its C(path), C(line), C(column), C(code) and C(message).
  returned: with O(state=checked)
  type: list
  elements: dict
haproxy:
  description: The result of HAProxy's own check.
  returned: with O(with_haproxy=true)
  type: dict
msg:
  description: The result; if the task failed, also what to do.
  returned: always
  type: str
rc:
  description: The exit code of drainswap.
  returned: always
  type: int
"""

from ansible_collections.drainswap.drainswap.plugins.module_utils.drainswap import PROGRAM, run


def main():
    run(
        "drainswap_config",
        PROGRAM,
        {
            "state": {"type": "str", "choices": ["applied", "compared", "checked"], "default": "applied"},
            "services": {"type": "list", "elements": "str"},
            "from": {"type": "path"},
            "target": {"type": "path"},
            "templates": {"type": "path"},
            "reload": {"type": "str", "choices": ["auto", "always", "never"]},
            "reload_by": {"type": "str"},
            "reload_timeout": {"type": "str"},
            "drain_timeout": {"type": "str"},
            "with_haproxy": {"type": "bool"},
        },
    )


if __name__ == "__main__":
    main()
