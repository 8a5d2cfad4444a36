#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_config
short_description: Installs haproxy.cfg and brings HAProxy to it, or leaves everything as it was
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Changes the backends of haproxy.cfg that the settings describe, or installs a file that you wrote. HAProxy itself must
    accept it, it takes the old one's place in one step, and is taken back if HAProxy does not come to run it.
  - What was set at runtime (drain, maint, weights) survives.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(applied) installs it. V(compared) tells what would change. V(checked) tells what is wrong with the file that is
        there, and fails if anything is.
    type: str
    choices: [applied, compared, checked]
    default: applied
  services:
    description: The services whose backends are rendered. Without it, all that the settings describe.
    type: list
    elements: str
  from:
    description: A file on the target that is installed as it is.
    type: path
  target:
    description: Which file of the configuration changes, where there are several.
    type: path
  templates:
    description: A folder on the target with templates of your own.
    type: path
  reload:
    description: When HAProxy is reloaded. V(auto) does not where servers only come or go. Without it, V(auto).
    type: str
    choices: [auto, always, never]
  reload_by:
    description: Who reloads it, as C(master), C(systemd) or a command. Without it, who is there.
    type: str
  reload_timeout:
    description: How long HAProxy may take to run the new file. Without it, C(30s).
    type: str
  drain_timeout:
    description: How long the sessions of a server that goes may take to end. Without it, C(5m).
    type: str
  with_haproxy:
    description: With O(state=checked), ask HAProxy too.
    type: bool
"""

EXAMPLES = r"""
- name: Write the file, and install it
  block:
    - name: Write it beside the one that runs
      ansible.builtin.template:
        src: haproxy.cfg.j2
        dest: /etc/haproxy/haproxy.cfg.new
        mode: "0640"
    - name: Install it
      drainswap.drainswap.drainswap_config:
        from: /etc/haproxy/haproxy.cfg.new

- name: Bring the described services into haproxy.cfg
  drainswap.drainswap.drainswap_config:
    services: [mobile]

- name: Say what is wrong with it
  drainswap.drainswap.drainswap_config:
    state: checked
    with_haproxy: true
"""

RETURN = r"""
file:
  description: The file that changes.
  returned: with O(state=applied) and O(state=compared)
  type: str
  sample: /etc/haproxy/haproxy.cfg
change:
  description: What kind of change it is.
  returned: with O(state=applied) and O(state=compared)
  type: str
problems:
  description: What is wrong with the file, each with its C(path), C(line), C(column), C(code) and C(message).
  returned: with O(state=checked)
  type: list
  elements: dict
haproxy:
  description: What HAProxy says of it.
  returned: with O(with_haproxy=true)
  type: dict
msg:
  description: What happened; of a failure also what to do.
  returned: always
  type: str
rc:
  description: The program's exit code.
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
