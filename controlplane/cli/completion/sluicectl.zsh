#compdef sluicectl
# SPDX-License-Identifier: Apache-2.0
# for zsh: source <(sluicectl completion zsh)

# Names for "get KIND"; the server, namespace and provider typed so far are handed on.
_sluicectl_names() {
  local kind=$1 i
  local -a scope names
  scope=(--timeout 1s)
  for ((i = 2; i < CURRENT; i++)); do
    case ${words[i]} in
      -n|--namespace|--server|--provider|--certificate-authority|--client-certificate|--client-key)
        scope+=("${words[i]}" "${words[i + 1]}") ;;
      -A|--all-namespaces) scope+=(-A) ;;
    esac
  done
  names=(${(f)"$(${words[1]} get $kind -o name $scope 2>/dev/null)"})
  names=(${names#*/})
  compadd -a names
}

_sluicectl() {
  local -a global commands kinds own
  local command="" kind="" i
  commands=(
    'apply:create or change services' 'expose:create a service from words'
    'delete:delete services' 'get:show what the gateway has'
    'describe:all about services' 'port-forward:carry local connections to backends'
    'flows:list or delete flows'
    'role:active or standby' 'drain:take no new flows' 'undrain:take new flows again'
    'doctor:what keeps services from being served'
    'status:state in numbers' 'explain:what happens to a packet'
    'completion:print a completion script' 'version:show versions'
  )
  kinds=(services backends ports flows drops events providers pools)
  global=(-n --namespace -A --all-namespaces -o --output --provider --server --certificate-authority --client-certificate
    --client-key --timeout --help)
  for ((i = 2; i < CURRENT; i++)); do
    case ${words[i]} in
      -n|--namespace|-o|--output|--provider|--server|--timeout|-f|--filename|--certificate-authority|--client-certificate|--client-key)
        ((i++)) ;;
      --expected-revision|--client|--backend|--service|--state|--limit) ((i++)) ;;
      --from|--to|--protocol|--port|--address|--deadline) ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then
          command=${words[i]}
        elif [[ -z $kind ]]; then
          kind=${words[i]}
        fi
        ;;
    esac
  done

  case ${words[CURRENT - 1]} in
    -o|--output) compadd table wide json yaml name; return ;;
    -f|--filename) _files; return ;;
    --service) _sluicectl_names services; return ;;
    --port) _sluicectl_names ports; return ;;
    --provider) _sluicectl_names providers; return ;;
    --state) compadd udp half_open established closing time_wait reset; return ;;
    --protocol) compadd tcp udp; return ;;
    -n|--namespace|--server|--timeout|--expected-revision|--client|--backend|--limit) return ;;
    --from|--to|--address|--deadline) return ;;
  esac

  if [[ ${words[CURRENT]} == -* ]]; then
    case $command in
      expose) own=(--port --target-port --node-port --protocol --type --load-balancer-ip
        --external-ip --external-name --selector --backend --dry-run) ;;
      apply) own=(-f --filename --replace --dry-run --expected-revision) ;;
      delete) own=(-f --filename --dry-run --expected-revision) ;;
      get) own=(-w --watch --client --backend --service --state --limit) ;;
      flows) own=(--client --backend --service --state --limit --all) ;;
      explain) own=(--from --to --protocol --port) ;;
      port-forward) own=(--address --through-vip) ;;
      drain) own=(--deadline) ;;
      doctor) own=(--kubernetes --config) ;;
    esac
    compadd -- $own $global
    return
  fi

  case $command in
    "") _describe command commands ;;
    completion) [[ -n $kind ]] || compadd bash zsh fish ;;
    flows) [[ -n $kind ]] || compadd list delete ;;
    role) [[ -n $kind ]] || compadd active standby ;;
    delete|describe|port-forward) if [[ -z $kind ]]; then compadd service; else _sluicectl_names services; fi ;;
    get)
      case $kind in
        "") compadd -a kinds ;;
        services|service|svc|backends|backend|be|flows|flow|fl|events|event|ev) _sluicectl_names services ;;
        ports|port|po) _sluicectl_names ports ;;
        drops|drop|dr) _sluicectl_names drops ;;
        providers|provider|pr) _sluicectl_names providers ;;
        pools|pool) _sluicectl_names pools ;;
      esac
      ;;
  esac
}

compdef _sluicectl sluicectl
