#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_info
short_description: Shows every server of an HAProxy backend and the container behind it
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Reads the states of HAProxy and the container engine, probes every server, and changes nothing.
extends_documentation_fragment:
  - drainswap.drainswap.common
options:
  backends:
    description: The backends to show. The default is all.
    type: list
    elements: str
attributes:
  check_mode:
    description: Can run in check mode, which shows whether anything would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the differences in diff mode.
    support: N/A
  async:
    description: Can be run with the C(async) keyword.
    support: full
"""

EXAMPLES = r"""
- name: Read the servers of a backend
  drainswap.drainswap.drainswap_info:
    backends: [mobile]
  register: now

- name: Fail unless every server answers
  ansible.builtin.assert:
    that: item.answer.kind == 'ready'
  loop: "{{ now.backends[0].servers }}"
"""

RETURN = r"""
backends:
  description: Each backend with its servers, and the state, the answer and the container of each server, as in C(drainswap status -o json).
  returned: success
  type: list
  elements: dict
haproxy:
  description: Each load balancer with its version and its old workers.
  returned: success
  type: list
  elements: dict
drift:
  description: By container, the differences from its description in the settings.
  returned: success
  type: dict
at:
  description: The time at which drainswap read the states.
  returned: success
  type: str
rc:
  description: The exit code of drainswap.
  returned: always
  type: int
"""

from ansible_collections.drainswap.drainswap.plugins.module_utils.drainswap import PROGRAM, run


def main():
    run("drainswap_info", PROGRAM, {"backends": {"type": "list", "elements": "str"}})


if __name__ == "__main__":
    main()
