# SPDX-License-Identifier: Apache-2.0
# for bash: source <(sluicectl completion bash)

# Names for "get KIND"; the server, namespace and provider typed so far are handed on.
_sluicectl_names() {
  local kind=$1 i
  local -a scope=(--timeout 1s)
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -n|--namespace|--server|--provider|\
      --certificate-authority|--client-certificate|--client-key)
        # bash takes ":" for a break between words: unix:PATH comes as three.
        if [[ ${COMP_WORDS[i + 2]} == : ]]; then
          scope+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}:${COMP_WORDS[i + 3]}")
        else
          scope+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
        fi
        ;;
      -A|--all-namespaces) scope+=(-A) ;;
    esac
  done
  "${COMP_WORDS[0]}" get "$kind" -o name "${scope[@]}" 2>/dev/null | sed 's,^[a-z]*/,,'
}

_sluicectl() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
  local commands="apply expose delete get describe port-forward flows status explain role drain undrain doctor"
  commands+=" completion version"
  local kinds="services backends ports flows drops events providers pools"
  local global="-n --namespace -A --all-namespaces -o --output --provider --server --certificate-authority
    --client-certificate --client-key --timeout --help"
  local command="" kind="" own="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -n|--namespace|-o|--output|--provider|--server|--timeout|-f|--filename|--expected-revision|\
      --certificate-authority|--client-certificate|--client-key|\
      --client|--backend|--service|--state|--limit|--from|--to|--protocol|--port|--address|--deadline)
        ((i++))
        [[ ${COMP_WORDS[i + 1]} == : ]] && ((i += 2))
        ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then
          command=${COMP_WORDS[i]}
        elif [[ -z $kind ]]; then
          kind=${COMP_WORDS[i]}
        fi
        ;;
    esac
  done

  case $prev in
    -o|--output) COMPREPLY=($(compgen -W "table wide json yaml name" -- "$cur")); return ;;
    -f|--filename) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --service) COMPREPLY=($(compgen -W "$(_sluicectl_names services)" -- "$cur")); return ;;
    --port) COMPREPLY=($(compgen -W "$(_sluicectl_names ports)" -- "$cur")); return ;;
    --provider) COMPREPLY=($(compgen -W "$(_sluicectl_names providers)" -- "$cur")); return ;;
    --state)
      COMPREPLY=($(compgen -W "udp half_open established closing time_wait reset" -- "$cur")); return ;;
    --protocol) COMPREPLY=($(compgen -W "tcp udp" -- "$cur")); return ;;
    -n|--namespace|--server|--timeout|--expected-revision|--client|--backend|--limit|--from|--to)
      return ;;
    --address) COMPREPLY=($(compgen -W "localhost 0.0.0.0" -- "$cur")); return ;;
    --deadline) return ;;
  esac

  if [[ $cur == -* ]]; then
    case $command in
      expose)
        own="--port --target-port --node-port --protocol --type --load-balancer-ip --external-ip --external-name"
        own+=" --selector --backend --dry-run" ;;
      apply) own="-f --filename --replace --dry-run --expected-revision" ;;
      delete) own="-f --filename --dry-run --expected-revision" ;;
      get) own="-w --watch --client --backend --service --state --limit" ;;
      flows) own="--client --backend --service --state --limit --all" ;;
      explain) own="--from --to --protocol --port" ;;
      port-forward) own="--address --through-vip" ;;
      drain) own="--deadline" ;;
      doctor) own="--kubernetes --config" ;;
    esac
    COMPREPLY=($(compgen -W "$own $global" -- "$cur"))
    return
  fi

  local words=""
  case $command in
    "") words=$commands ;;
    completion) [[ -n $kind ]] || words="bash zsh fish" ;;
    flows) [[ -n $kind ]] || words="list delete" ;;
    role) [[ -n $kind ]] || words="active standby" ;;
    delete|describe|port-forward) if [[ -z $kind ]]; then words="service"; else words=$(_sluicectl_names services); fi ;;
    get)
      case $kind in
        "") words=$kinds ;;
        services|service|svc|backends|backend|be|flows|flow|fl|events|event|ev)
          words=$(_sluicectl_names services) ;;
        ports|port|po) words=$(_sluicectl_names ports) ;;
        drops|drop|dr) words=$(_sluicectl_names drops) ;;
        providers|provider|pr) words=$(_sluicectl_names providers) ;;
        pools|pool) words=$(_sluicectl_names pools) ;;
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _sluicectl sluicectl
