# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT
"""Hands a task over to the program drainswap, which does all the rest."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

# The options that every module has: they are the flags that every command has.
PROGRAM = {
    "executable": {"type": "path"},
    "haproxy_config": {"type": "list", "elements": "path"},
    "socket": {"type": "list", "elements": "str"},
    "master_socket": {"type": "list", "elements": "str"},
    "docker": {"type": "str"},
    "settings": {"type": "path"},
    "as": {"type": "str"},
    "haproxy": {"type": "path"},
    "state_dir": {"type": "path"},
    "trust_owner": {"type": "list", "elements": "str"},
    "lock_wait": {"type": "str"},
    "events": {"type": "path"},
}

# The limits and choices of a run.
POLICY = {
    # generated: UPDATE=1 cargo test --lib collection
    "floor": {"type": "int"},
    "drain_timeout": {"type": "str"},
    "on_drain_timeout": {"type": "str", "choices": ["fail", "maint", "shutdown", "force"]},
    "shutdown_over": {"type": "str"},
    "lb_quorum": {"type": "str", "choices": ["all", "reachable"]},
    "headroom": {"type": "int"},
    "ready_timeout": {"type": "str"},
    "rise": {"type": "int"},
    "probe": {"type": "str"},
    "on_failure": {"type": "str", "choices": ["rollback", "stop"]},
    "keep": {"type": "int"},
    "silence_check": {"type": "bool"},
    "surge": {"type": "str"},
    "surge_shares_volumes": {"type": "bool"},
    "renew_anon_volumes": {"type": "bool"},
    "only": {"type": "list", "elements": "str"},
    "no_create": {"type": "bool"},
    "enable": {"type": "bool"},
    # end of the generated part
}


def run(name, *options):
    """Runs the program with the options of a task, and answers as it does."""
    spec = {}
    for part in options:
        spec.update(part)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    arguments = dict((key, value) for key, value in module.params.items() if value is not None)
    program = arguments.pop("executable", None) or module.get_bin_path("drainswap", required=True)
    arguments["_ansible_module_name"] = name
    arguments["_ansible_check_mode"] = module.check_mode
    arguments["_ansible_diff"] = module._diff
    handle, path = tempfile.mkstemp(prefix="drainswap-", suffix=".json", dir=module.tmpdir)
    module.add_cleanup_file(path)
    with os.fdopen(handle, "w") as written:
        json.dump(arguments, written)
    dummy, out, err = module.run_command([program, path])
    try:
        answer = json.loads(out)
    except ValueError:
        module.fail_json(
            msg="%s does not answer as the program of this collection does: install drainswap of the same version" % program,
            stdout=out,
            stderr=err,
        )
    for warning in answer.pop("warnings", []):
        module.warn(warning)
    if answer.pop("failed", False):
        module.fail_json(**answer)
    module.exit_json(**answer)
