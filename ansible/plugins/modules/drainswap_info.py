#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_info
short_description: Tells of every server of an HAProxy backend and of the container behind it
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Looks at HAProxy, at the container engine and at every server, and touches nothing.
extends_documentation_fragment:
  - drainswap.drainswap.common
options:
  backends:
    description: Only these backends. Without it, all.
    type: list
    elements: str
attributes:
  check_mode:
    description: Can run in check mode and tell whether anything would change, without touching it.
    support: full
  diff_mode:
    description: Tells what differs, in diff mode.
    support: N/A
  async:
    description: Can be run with the C(async) keyword.
    support: full
"""

EXAMPLES = r"""
- name: Look
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
  description: Each backend with its servers, the state of each, what it answered and the container behind it, as in C(drainswap status -o json).
  returned: success
  type: list
  elements: dict
haproxy:
  description: Each load balancer with its version and its old workers.
  returned: success
  type: list
  elements: dict
drift:
  description: By container, what is not as the settings describe it.
  returned: success
  type: dict
at:
  description: When it was looked at.
  returned: success
  type: str
rc:
  description: The program's exit code.
  returned: always
  type: int
"""

from ansible_collections.drainswap.drainswap.plugins.module_utils.drainswap import PROGRAM, run


def main():
    run("drainswap_info", PROGRAM, {"backends": {"type": "list", "elements": "str"}})


if __name__ == "__main__":
    main()
