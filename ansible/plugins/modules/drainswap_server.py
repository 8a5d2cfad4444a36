#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_server
short_description: Takes a server of an HAProxy backend out of service, or puts it back
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Drains a server, takes it out of service or puts it back, and sets its weight, its health checks and its agent.
  - Takes every option of M(community.general.haproxy), so that in a task only the module's name has to change.
  - Makes each change at all load balancers or at none. If HAProxy refuses a change, the task fails.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(enabled) or V(ready) puts the server in service. V(disabled) or V(maint) takes it out of service completely.
        V(drain) takes it out of load balancing; persistent clients still reach it.
    type: str
    required: true
    choices: [enabled, disabled, drain, ready, maint]
  host:
    description: The server's name in haproxy.cfg.
    type: str
    required: true
  backend:
    description: The backend. The default is every backend that has a server of that name.
    type: str
  weight:
    description: With O(state=enabled), the weight, from 0 to 256, or a percentage of the weight in haproxy.cfg, such as V(50%).
    type: str
  shutdown_sessions:
    description: With O(state=disabled), end the sessions that remain on the server. Has no effect with O(drain), which waits for them.
    type: bool
    default: false
  drain:
    description:
      - With O(state=disabled), drain first and wait until the last session has ended.
      - With O(state=drain), wait until the last session has ended.
    type: bool
    default: false
  wait:
    description: With O(state=enabled), wait until the server answers and HAProxy reports it up. The other states are read back at once.
    type: bool
    default: false
  wait_retries:
    description: The factor by which O(wait_interval) is multiplied, for the longest wait without O(drain_timeout).
    type: int
    default: 25
  wait_interval:
    description: The time, in seconds, that is multiplied by O(wait_retries). drainswap queries HAProxy more often than that.
    type: int
    default: 5
  drain_timeout:
    description: The longest wait, such as V(10m). It overrides O(wait_retries) and O(wait_interval).
    type: str
  fail_on_not_found:
    description: Fail if the server does not exist, instead of doing nothing.
    type: bool
    default: false
  agent:
    description: Also turn the agent of the server on, or off with O(state=disabled).
    type: bool
    default: false
  health:
    description: Also turn the health checks of the server on, or off with O(state=disabled).
    type: bool
    default: false
  floor:
    description: Refuse to leave fewer than this number of servers serving. V(0) also overrides O(headroom) and an unfinished run. The default is 1.
    type: int
  headroom:
    description: The extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a maxconn. The default is 0.
    type: int
seealso:
  - module: community.general.haproxy
"""

EXAMPLES = r"""
- name: Take a server out of every backend that has it, after its last session has ended
  drainswap.drainswap.drainswap_server:
    state: disabled
    host: "{{ inventory_hostname_short }}"
    drain: true
    drain_timeout: 10m
  delegate_to: lb1.example.org

- name: Put it back, with half its weight, and wait until it is up
  drainswap.drainswap.drainswap_server:
    state: enabled
    host: "{{ inventory_hostname_short }}"
    backend: mobile
    weight: 50%
    wait: true
  delegate_to: lb1.example.org
"""

RETURN = r"""
state_before:
  description: The state of each server at each load balancer before the task.
  returned: success
  type: list
  elements: dict
  sample:
    - backend: mobile
      host: app1
      load_balancer: /run/haproxy/admin.sock
      status: UP
      weight: "1"
      scur: "3"
      health: "on"
      agent: absent
state_after:
  description: The same after the task, or in check mode as it would be.
  returned: success
  type: list
  elements: dict
command:
  description: The commands that HAProxy got, or would get in check mode. Empty if nothing differed.
  returned: success
  type: list
  elements: str
  sample: [set server mobile/app1 state maint]
output:
  description: HAProxy's answer to each command, which is empty if the command succeeded.
  returned: success
  type: list
  elements: str
msg:
  description: The error, and what to do.
  returned: failure, or if the server does not exist
  type: str
rc:
  description: The exit code of drainswap.
  returned: always
  type: int
"""

from ansible_collections.drainswap.drainswap.plugins.module_utils.drainswap import PROGRAM, run


def main():
    run(
        "drainswap_server",
        PROGRAM,
        {
            "state": {"type": "str", "choices": ["enabled", "disabled", "drain", "ready", "maint"], "required": True},
            "host": {"type": "str", "required": True},
            "backend": {"type": "str"},
            "weight": {"type": "str"},
            "shutdown_sessions": {"type": "bool", "default": False},
            "drain": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": False},
            "wait_retries": {"type": "int", "default": 25},
            "wait_interval": {"type": "int", "default": 5},
            "drain_timeout": {"type": "str"},
            "fail_on_not_found": {"type": "bool", "default": False},
            "agent": {"type": "bool", "default": False},
            "health": {"type": "bool", "default": False},
            "floor": {"type": "int"},
            "headroom": {"type": "int"},
        },
    )


if __name__ == "__main__":
    main()
