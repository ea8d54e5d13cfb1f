%% The application, on Cowboy: tells everyone what it was told about them, and echoes in WebSockets.
%% Usage: app.erl PORT PORT, of the listener that demands a PROXY line and of the plain one; 0 is any,
%% and both are printed.
-module(app).
-mode(compile).
-export([main/1, init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).

main([Told, Plain]) ->
    {ok, _} = application:ensure_all_started(cowboy),
    Ports = [listen(told, Told, true), listen(plain, Plain, false)],
    io:format("~b~n~b~n", Ports),
    timer:sleep(infinity).

listen(Name, Port, Proxy) ->
    Routes = cowboy_router:compile([{'_', [{'_', ?MODULE, []}]}]),
    Options = #{env => #{dispatch => Routes}, proxy_header => Proxy},
    {ok, _} = cowboy:start_clear(Name, [{ip, {127, 0, 0, 1}}, {port, list_to_integer(Port)}], Options),
    ranch:get_port(Name).

init(Request, _) ->
    Facts = jsx:encode(facts(Request)),
    case cowboy_req:header(<<"upgrade">>, Request) of
        undefined ->
            Headers = #{<<"content-type">> => <<"application/json">>},
            {ok, cowboy_req:reply(200, Headers, Facts, Request), none};
        _ ->
            {cowboy_websocket, Request, Facts}
    end.

websocket_init(Facts) -> {[{text, Facts}], Facts}.

websocket_handle({text, Text}, State) -> {[{text, Text}], State};
websocket_handle(_, State) -> {[], State}.

websocket_info(_, State) -> {[], State}.

facts(Request) ->
    #{line => line(Request),
      host => cowboy_req:host(Request),
      proto => cowboy_req:header(<<"x-forwarded-proto">>, Request, null)}.

%% What the PROXY line said.
line(#{proxy_header := #{src_address := Client, src_port := Port,
                         dest_address := Door, dest_port := DoorPort}}) ->
    #{client => address(Client), port => Port, door => address(Door), door_port => DoorPort};
line(#{proxy_header := _}) -> <<"nothing of the client">>;
line(_) -> null.

address(Ip) -> list_to_binary(inet:ntoa(Ip)).
