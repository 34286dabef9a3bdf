"use strict";
// What the page says, by language; the browser's first that is here counts.
const WORDS = {
  en: {
    skip: "To the content", overview: "Overview", servers: "Servers", flows: "Flows", rules: "Rules", log: "Log",
    secret: "Secret", enter: "Enter", down: "Down", up: "Up", memory: "Memory", find: "Find", closeAll: "Close all",
    program: "Program", to: "To", rule: "Rule", through: "Through", close: "Close", kind: "Kind", what: "What",
    connected: "connected", away: "no answer from tunflow", test: "Test", testing: "testing …", use: "Use",
    none: "no groups: one server carries everything", dead: "does not work", more: "more are not shown: find narrows it",
    failed: "failed", graph: "Bytes a second, the last two minutes",
    why: "Why this flow goes there", back: "Back", address: "Address", byServer: "the server finds it", from: "From", since: "Since",
    lookup: "Look up a name", ask: "Ask", noName: "no such name",
    filter: "Filter", when: "When", blocked: "Blocked", why2: "Why", whom: "For whom", allow: "Allow this", allowedNow: "allowed",
    noFilter: "nothing is filtered: the profile has no [filter]", privacy_none: "no log is kept (privacy)", privacy_counts: "the log has counts only (privacy)",
    privacy_domains: "nothing was blocked yet", privacy_full: "nothing was blocked yet",
    noAllowList: 'to let sites in from here, give the profile a list with action = "allow" and a file',
    noSecret: "to let sites in from here, give the API a secret",
  },
  zh: {
    skip: "跳到内容", overview: "概览", servers: "服务器", flows: "连接", rules: "规则", log: "日志",
    secret: "密钥", enter: "进入", down: "下载", up: "上传", memory: "内存", find: "查找", closeAll: "全部关闭",
    program: "程序", to: "目标", rule: "规则", through: "经由", close: "关闭", kind: "类型", what: "内容",
    connected: "已连接", away: "tunflow 没有响应", test: "测速", testing: "测速中…", use: "使用",
    none: "没有策略组：所有流量走同一服务器", dead: "不可用", more: "条未显示，请用查找缩小范围",
    failed: "失败", graph: "最近两分钟每秒字节数",
    why: "这条连接为什么走这里", back: "返回", address: "地址", byServer: "由服务器解析", from: "来源", since: "开始于",
    lookup: "查询域名", ask: "查询", noName: "没有这个域名",
    filter: "过滤", when: "时间", blocked: "已拦截", why2: "原因", whom: "对象", allow: "允许访问", allowedNow: "已允许",
    noFilter: "没有启用过滤：配置文件里没有 [filter]", privacy_none: "不保存日志（privacy）", privacy_counts: "日志只有计数（privacy）",
    privacy_domains: "还没有拦截任何内容", privacy_full: "还没有拦截任何内容",
    noAllowList: '要在这里放行网站，请在配置文件中加入 action = "allow" 且带 file 的列表',
    noSecret: "要在这里放行网站，请为 API 设置密钥",
  },
};
