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
  - Drains a server, takes it out altogether or puts it back, and sets its weight, its health checks and its agent.
  - It takes every option of M(community.general.haproxy), so that a task can be moved here by its module's name alone.
  - Everything is done at all load balancers or at none. What HAProxy refuses is a failure.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(enabled) or V(ready) puts the server in service, V(disabled) or V(maint) takes it out altogether, V(drain) out
        of the balance.
    type: str
    required: true
    choices: [enabled, disabled, drain, ready, maint]
  host:
    description: The server's name in haproxy.cfg.
    type: str
    required: true
  backend:
    description: The backend. Without it, every backend that has a server of that name.
    type: str
  weight:
    description: With O(state=enabled), the weight, from 0 to 256 or a share of what haproxy.cfg says, such as V(50%).
    type: str
  shutdown_sessions:
    description: With O(state=disabled), end the sessions that are left. Of no effect beside O(drain), which waits for them.
    type: bool
    default: false
  drain:
    description:
      - With O(state=disabled), drain first and wait until the last session has ended.
      - With O(state=drain), wait until the last session has ended.
    type: bool
    default: false
  wait:
    description: With O(state=enabled), wait until the server answers and HAProxy has it up. The other states are read back at once.
    type: bool
    default: false
  wait_retries:
    description: How many times O(wait_interval) it may take, where O(drain_timeout) does not say how long.
    type: int
    default: 25
  wait_interval:
    description: Seconds, to be multiplied by O(wait_retries). HAProxy is looked at more often than that.
    type: int
    default: 5
  drain_timeout:
    description: How long anything is waited for, such as V(10m). It wins over O(wait_retries) and O(wait_interval).
    type: str
  fail_on_not_found:
    description: Fail where there is no such server, instead of leaving it at that.
    type: bool
    default: false
  agent:
    description: Turn its agent on, or off with O(state=disabled), too.
    type: bool
    default: false
  health:
    description: Turn its health checks on, or off with O(state=disabled), too.
    type: bool
    default: false
  floor:
    description: The least number of servers of the backend that must be serving. V(0) also overrides O(headroom) and an unfinished run. Without it, 1.
    type: int
  headroom:
    description: The extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a maxconn. Without it, 0.
    type: int
seealso:
  - module: community.general.haproxy
"""

EXAMPLES = r"""
- name: Take a server out of every backend that has it, when its last session has ended
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
  description: Each server at each load balancer as it was.
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
  description: The same as it is now, or would be in check mode.
  returned: success
  type: list
  elements: dict
command:
  description: What HAProxy was told, or would be. Nothing where everything was so already.
  returned: success
  type: list
  elements: str
  sample: [set server mobile/app1 state maint]
output:
  description: What HAProxy answered to each, which is nothing where it did as it was told.
  returned: success
  type: list
  elements: str
msg:
  description: What went wrong, and what to do.
  returned: failure, or when there is no such server
  type: str
rc:
  description: The program's exit code.
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
